"""Enrolled people, searched by face."""
