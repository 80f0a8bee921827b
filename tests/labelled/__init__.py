"""Faults with the class that somebody who knows Kubernetes expects: what the judge is measured by (injections.yaml)."""
