"""The hand-written script that `single` compares with: import, build, export, check, run both at the same sizes, compare."""

import os
import sys
from pathlib import Path

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import numpy as np
import onnx
import onnxruntime as ort
import torch
import torchvision

name, folder, sizes = sys.argv[1], sys.argv[2], [int(size) for size in sys.argv[3].split(",")]
torch.manual_seed(0)
model = getattr(torchvision.models, name)(weights=None).eval()
path = str(Path(folder) / f"{name}.onnx")
batch = torch.export.Dim("batch", min=1, max=16)
example = torch.randn(sizes[0], 3, 224, 224)
torch.onnx.export(
    model, (example,), path, dynamo=True, opset_version=20, verbose=False,
    input_names=["image"], output_names=["logits"], dynamic_shapes=({0: batch},),
)  # fmt: skip
onnx.checker.check_model(path, full_check=True)
session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
for size in sizes:
    image = torch.randn(size, 3, 224, 224)
    with torch.no_grad():
        want = model(image).numpy()
    (got,) = session.run(None, {"image": image.numpy()})
    assert np.allclose(got, want, 1e-3, 1e-4), abs(got - want).max()
print("ok")
