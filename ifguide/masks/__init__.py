"""Masks in the formats that other trainers read."""
