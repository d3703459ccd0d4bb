"""What is signed and outlives the process: receipts of draws, seed packs, and the store of both."""
