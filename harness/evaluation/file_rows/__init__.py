"""Leaderboard rows of systems whose answers are files: beside the methods, and marked."""
