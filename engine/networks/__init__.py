"""Subnets, bridges, firewall, names, published ports."""
