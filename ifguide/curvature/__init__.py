"""Curvature of the training loss, fitted on a sample of the corpus."""

from ifguide.curvature.fit import CurvatureConfig, fit
from ifguide.linalg.operators import Curvature, Dense, Identity, Kronecker, curvature_from

__all__ = [
    "Curvature",
    "CurvatureConfig",
    "Dense",
    "Identity",
    "Kronecker",
    "curvature_from",
    "fit",
]
