"""The HTTP edge: REST in front, gRPC behind."""
