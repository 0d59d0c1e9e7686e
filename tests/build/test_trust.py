from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.build import trust
from orchestrator.build.trust import UntrustedError, argument_problem, problems, resolve, static_problem
from orchestrator.spec import BuildSpec

COUNTER = itertools.count()
Write = Callable[..., str]


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Path]:
    """A file that hostile code would leave behind."""
    path = tmp_path / "canary"
    yield path
    assert not path.exists()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    monkeypatch.syspath_prepend(tmp_path)
    name = f"trusted_{next(COUNTER)}"

    def write(**files: str) -> str:
        (tmp_path / name).mkdir()
        for stem, source in {"__init__": "", **files}.items():
            (tmp_path / name / f"{stem}.py").write_text(source)
        return name

    return write


TRUSTED = [
    "torchvision.models.resnet50",
    "torchvision.models.resnet.ResNet",
    "timm.create_model",
    "timm.models.resnet50",
    "transformers.BertModel",
    "transformers.models.bert.modeling_bert.BertModel",
    "transformers.BertConfig",
    "khmer_ocr_ocm.CRNN",
    "torch.nn.Linear",
    "orchestrator.zoo.recurrent.LSTM",
]


@pytest.mark.parametrize("target", TRUSTED)
def test_models_of_the_zoo_are_trusted(target: str) -> None:
    assert static_problem(target, ()) is None
    assert callable(resolve(target, ()))


DECIDED_BY_READING = {
    "os.system": "is not trusted",
    "builtins.eval": "is not trusted",
    "subprocess.Popen": "is not trusted",
    "posix.system": "is not trusted",
    "torchvision.models.resnet.partial": "it is `functools.partial`",
    "torchvision.models.partial": "it is `functools.partial`",
    "torchvision.models._api.importlib.import_module": "`_api` is private",
    "torchvision.models.resnet50.__globals__": "`__globals__` is private",
    "torchvision.models.resnet.torch.load": "it is `torch.serialization.load`",
    "torchvision.models.resnet.torch.hub.load": "`torch.hub.load` fetches",
    "torchvision.io.read_file": "it is `torchvision.io.image.read_file`",
    "torch.load": "it is `torch.serialization.load`",
    "torch.jit.load": "it is `torch.jit._serialization.load`",
    "torch.hub.load": "fetches",
    "torch.utils.cpp_extension.load_inline": "is not trusted",
    "timm.models.load_checkpoint": "it is `timm.models._helpers.load_checkpoint`",
    "khmer_ocr_ocm.KhmerOCR": "it is `khmer_ocr_ocm.inference.KhmerOCR`",
    "khmer_ocr_ocm.finetune.finetune": "is not trusted",
    "transformers.AutoModel.from_pretrained": "fetches",
    "transformers.models.bert.modeling_bert.BertModel.from_pretrained": "fetches",
    "transformers.models.bert.modeling_bert.logger": None,
    "orchestrator.build.trust.importlib.import_module": "it is `importlib.import_module`",
    "orchestrator.sandbox.os.system": "is not trusted",
    "torchvision.models.resnet": "is a module",
    "torchvision.models.resnet51": "does not exist; near names: resnet50",
    "torchvision": "no dotted path",
    "torchvision.models.resnet50 ": "no dotted path",
    "torchvision..resnet50": "no dotted path",
    "torchvision.models.resnet50(); import os": "no dotted path",
    "": "no dotted path",
}
"""What cannot be decided by reading, None here, is decided on the object."""


@pytest.mark.parametrize("target", DECIDED_BY_READING)
def test_hostile_targets_are_refused_before_anything_is_called(target: str) -> None:
    expected = DECIDED_BY_READING[target]
    problem = static_problem(target, ())
    assert (problem is None) == (expected is None)
    assert expected is None or expected in str(problem)
    assert "\n" not in str(problem)
    with pytest.raises((UntrustedError, AttributeError)):
        resolve(target, ())


DECIDED_ON_THE_OBJECT = [
    "transformers.pipeline",
    "transformers.AutoModel.from_config",
    "transformers.Trainer",
    "transformers.os",
]


@pytest.mark.parametrize("target", DECIDED_ON_THE_OBJECT)
def test_what_a_lazy_module_holds_is_judged_by_what_it_is(target: str) -> None:
    assert static_problem(target, ()) is None
    with pytest.raises((UntrustedError, AttributeError)):
        resolve(target, ())


def test_a_refusal_names_what_is_trusted_and_how_to_add_to_it() -> None:
    problem = str(static_problem("mypkg.models.Net", ("otherpkg.models.*",)))
    assert "torchvision.models." in problem
    assert "otherpkg.models.*" in problem
    assert "'trust=[mypkg.models.*]'" in problem


def test_nobody_is_told_to_trust_the_standard_library() -> None:
    assert "trust=[os" not in str(static_problem("os.system", ()))


def test_a_pattern_of_the_user_adds_a_package(package: Write) -> None:
    name = package(models="class Net: ...")
    assert "is not trusted" in str(static_problem(f"{name}.models.Net", ()))
    assert static_problem(f"{name}.models.Net", (f"{name}.models.*",)) is None
    assert resolve(f"{name}.models.Net", (f"{name}.models.*",)).__name__ == "Net"


def test_a_package_that_is_not_trusted_is_not_even_imported(package: Write, canary: Path) -> None:
    name = package(__init__=f"open({str(canary)!r}, 'w')\nclass Net: ...")
    assert static_problem(f"{name}.Net", ()) is not None
    with pytest.raises(UntrustedError):
        resolve(f"{name}.Net", ())


def test_a_module_beside_the_trusted_ones_is_not_imported(package: Write, canary: Path) -> None:
    name = package(models="", scripts=f"open({str(canary)!r}, 'w')\ndef __getattr__(name): return print")
    assert static_problem(f"{name}.scripts.anything", (f"{name}.models.*",)) is None
    with pytest.raises(UntrustedError, match="not trusted"):
        resolve(f"{name}.scripts.anything", (f"{name}.models.*",))


HIDDEN = {
    "a renamed function": "from os import system as Net",
    "a lambda": "Net = (lambda: open(CANARY, 'w'))",
    "a partial": "import functools\nNet = functools.partial(open, CANARY, 'w')",
    "an instance that can be called": "class _Net:\n    def __call__(self): open(CANARY, 'w')\nNet = _Net()",
    "what a module makes up": "import os\ndef __getattr__(name): return os.system",
    "a name chosen by a condition": "if True:\n    from os import system as Net\nelse:\n    class Net: ...",
    "a private function under a public name": "import posix\nNet = vars(posix)['system']",
}


@pytest.mark.parametrize("source", HIDDEN.values(), ids=list(HIDDEN))
def test_what_hides_behind_a_trusted_name_is_refused(package: Write, canary: Path, source: str) -> None:
    name = package(models=f"CANARY = {str(canary)!r}\n{source}")
    patterns = (f"{name}.models.[A-Z]*",)
    with pytest.raises(UntrustedError):
        resolve(f"{name}.models.Net", patterns)


def test_names_that_are_not_there_come_with_near_ones_in_the_child_too() -> None:
    with pytest.raises(AttributeError, match="near names: BertModel"):
        resolve("transformers.BertModell", ())


@pytest.mark.parametrize("package", sorted(trust.ZOO_PACKAGES))
def test_a_package_of_the_zoo_that_is_not_installed_names_the_extra(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setattr("orchestrator.build.sources.find", functools.partial(_all_but, package))
    problem = str(static_problem(f"{package}.models.Net", ()))
    assert f"the package `{package}` is not installed" in problem
    assert "onnx-batch-exporter[zoo]" in problem


def _all_but(missing: str, name: str) -> None:
    assert name == missing


ARGUMENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "pretrained": ("timm.create_model", {"model_name": "resnet18", "pretrained": True}),
    "pretrained as text": ("timm.create_model", {"pretrained": "false"}),
    "a backbone": ("transformers.DetrConfig", {"use_pretrained_backbone": True}),
    "code of a hub": ("transformers.BertConfig", {"trust_remote_code": True}),
    "attention of a hub": ("transformers.BertConfig", {"attn_implementation": "someone/kernel"}),
    "weights by name": ("torchvision.models.resnet50", {"weights": "DEFAULT"}),
    "weights of a backbone": ("torchvision.models.segmentation.fcn_resnet50", {"weights_backbone": "DEFAULT"}),
    "a backbone by default": ("torchvision.models.detection.fasterrcnn_resnet50_fpn", {"weights": None}),
    "a model of a hub": ("timm.create_model", {"model_name": "hf-hub:someone/model"}),
    "a model of a folder": ("timm.create_model", {"model_name": "local-dir:/tmp/model"}),
    "an address": ("mypkg.Net", {"source": "https://example.org/model.pth"}),
    "a checkpoint": ("timm.create_model", {"checkpoint_path": "model.pth"}),
    "pickles": ("mypkg.Net", {"weights_only": False}),
    "a key of Hydra": ("mypkg.Net", {"_args_": [1]}),
    "a partial": ("mypkg.Net", {"_partial_": True}),
    "in a node": ("mypkg.Net", {"config": {"_target_": "timm.create_model", "pretrained": True}}),
    "in a list of nodes": ("mypkg.Net", {"parts": [1, {"_target_": "torchvision.models.resnet18", "weights": "DEFAULT"}]}),
    "in a mapping in a list": ("mypkg.Net", {"parts": [{"inner": {"trust_remote_code": 1}}]}),
}


@pytest.mark.parametrize(("target", "arguments"), ARGUMENTS.values(), ids=list(ARGUMENTS))
def test_arguments_that_fetch_or_execute_are_refused(target: str, arguments: dict[str, Any]) -> None:
    problem = argument_problem(arguments, target)
    assert problem is not None
    assert "\n" not in problem


@pytest.mark.parametrize(
    ("target", "arguments"),
    [
        ("torchvision.models.resnet50", {"weights": None, "num_classes": 10}),
        ("torchvision.models.segmentation.fcn_resnet50", {"weights": None, "weights_backbone": None}),
        ("torchvision.models.segmentation.FCN", {"classifier": 1}),
        ("timm.create_model", {"model_name": "resnet18.a1_in1k", "pretrained": False, "checkpoint_path": ""}),
        ("transformers.BertConfig", {"attn_implementation": "eager", "trust_remote_code": False}),
        ("mypkg.Net", {"weights": [1, 2], "init": {"weights_only": True}}),
    ],
)
def test_harmless_arguments_pass(target: str, arguments: dict[str, Any]) -> None:
    assert argument_problem(arguments, target) is None


def test_all_problems_of_a_build_are_told_together() -> None:
    build = BuildSpec(
        target="transformers.BertModel",
        arguments={"config": {"_target_": "os.system", "inner": [{"_target_": "builtins.eval", "pretrained": True}]}},
    )
    assert trust.targets(build) == ("transformers.BertModel", "os.system", "builtins.eval")
    found = problems(build, ())
    assert ["os.system" in found[0], "builtins.eval" in found[1], "pretrained" in found[2]] == [True] * 3
