"""Finding memories: tokens, BM25, vectors, fusion."""
