"""Declarative batch export of PyTorch models to ONNX: plan, fan out, prove, report."""

__version__ = "0.1.0"
