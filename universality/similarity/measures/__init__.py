"""Measures of similarity: one file each, and the registry of those that compare stores over tokens."""
