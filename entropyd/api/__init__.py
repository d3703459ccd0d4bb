"""What other processes see of entropyd: gRPC, the HTTP of gnosis-radio and sdr-rand, metrics."""
