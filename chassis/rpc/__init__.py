"""gRPC as Sealgate speaks it: servers, clients, errors, deadlines, identities."""
