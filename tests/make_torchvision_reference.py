"""Write torchvision_reference/: what torchvision's own networks compute of the weights that torchvision_rule.py draws.

    python tests/make_torchvision_reference.py [NAME …]         # with a Python that has torchvision

Made with torchvision 0.28 and PyTorch 2.13 on a CPU.
"""
import json
import sys

import numpy as np
import torch
import torchvision
from torchvision_rule import FOLDER, NETWORKS, drawn, images


AUXILIARIES = {"googlenet": {"aux1": "inception4a", "aux2": "inception4d"},         # classifier → module in front
               "inception_v3": {"AuxLogits": "Mixed_6e"}}


def outputs(name: str, side: int) -> tuple[dict, dict[str, np.ndarray]]:
    """Names and shapes of the state_dict; logits of the network and of the auxiliary classifiers, without dropout."""
    arguments = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    model = getattr(torchvision.models, name)(weights=None, **arguments).eval()
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    model.load_state_dict({key: torch.from_numpy(np.asarray(value)) for key, value in drawn(shapes).items()})
    seen = {}
    for classifier, module in AUXILIARIES.get(name, {}).items():
        def behind(_, given, made, classifier=classifier):
            seen[classifier] = getattr(model, classifier)(made)
        getattr(model, module).register_forward_hook(behind)
    with torch.inference_mode():
        seen["logits"] = model(torch.from_numpy(images(side).transpose(0, 3, 1, 2).copy()))
    return shapes, {key: value.numpy() for key, value in seen.items()}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, side in NETWORKS.values():
        if sys.argv[1:] and name not in sys.argv[1:]:
            continue
        shapes, found = outputs(name, side)
        np.savez_compressed(FOLDER / f"{name}.npz", shapes=json.dumps(shapes),
                            **{key: np.round(value, 5) for key, value in found.items()})
        for key, (first, second) in found.items():
            print(f"{name} {key}: {first.min():.2f} to {first.max():.2f}, the images differ by "
                  f"{np.abs(first - second).max():.2f}", flush=True)
