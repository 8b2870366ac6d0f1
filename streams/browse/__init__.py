"""Reads the topics for people: message by message, from a time or an offset on, without a group.

For the commands and the pages. Nothing here moves a position, and the memory it takes is bounded.
"""
