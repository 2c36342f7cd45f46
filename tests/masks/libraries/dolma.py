"""Dolma's mixer takes the suppressed spans out of an export."""

import gzip
import json
import sys
from importlib.machinery import ExtensionFileLoader
from importlib.util import find_spec, module_from_spec, spec_from_loader
from pathlib import Path

sys.path.pop(0)  # where this file lies, which has the library's name
folder = Path(sys.argv[1])
# the mixer itself: importing the whole package asks for a fastText that has to be compiled
(place,) = Path(find_spec("dolma").submodule_search_locations[0]).glob("dolma.*.so")
loader = ExtensionFileLoader("dolma", str(place))
mixer = module_from_spec(spec_from_loader("dolma", loader))
loader.exec_module(mixer)
stream = {
    "name": "suppressed",
    "documents": [f"{folder}/documents/*.gz"],
    "attributes": ["ifguide"],
    "output": {"path": f"{folder}/mixed", "max_size_in_bytes": 10**9},
    "span_replacement": [
        {
            "span": "$.attributes.ifguide__ifguide__suppress",
            "min_score": -100.0,
            "replacement": "",
        }
    ],
}
work = {"input": f"{folder}/in", "output": f"{folder}/out"}
mixer.mixer_entrypoint(json.dumps({"streams": [stream], "processes": 1, "work_dir": work}))
(mixed,) = (folder / "mixed").glob("*.gz")
lines = gzip.decompress(mixed.read_bytes()).decode().splitlines()
print(json.dumps([json.loads(line)["text"] for line in lines]))
