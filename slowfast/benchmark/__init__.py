"""Speed and memory: one module a subject, each with `add_arguments(parser)` and `run(args) -> Results`."""
