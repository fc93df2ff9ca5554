"""The gateway: inference traffic through one pipeline of stages."""
