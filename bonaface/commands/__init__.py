"""The commands, thin: parse, call, print. Each module has ``main(arguments) -> exit code``."""
