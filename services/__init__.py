"""The three gRPC services: auth, keys and wallet."""
