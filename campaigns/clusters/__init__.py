"""Clusters to run experiments on: one Protocol (`campaigns.clusters.protocol`), the sandbox today."""
