#!/usr/bin/env python3
"""A folder's documents for a cluster, as JSON: audiences of files are in place. The plan of campaigns is NAMESPACE/NAME where that is given."""

import csv
import json
import subprocess
import sys
from pathlib import Path


def main():
    place = Path(sys.argv[1])
    # kubectl reads the YAML; nothing of it is ours.
    text = subprocess.run(
        ["kubectl", "create", "--dry-run=client", "--validate=false", "-o", "json", "-f", place / "fleet.yaml"], check=True, capture_output=True, text=True
    ).stdout
    decoder, items = json.JSONDecoder(), []
    while text := text.lstrip():
        item, end = decoder.raw_decode(text)
        items += item.get("items", [item])
        text = text[end:]
    for item in items:
        if item["kind"] == "Campaign":
            with open(place / "people.csv", encoding="utf-8") as file:
                item["spec"]["audience"] = {"inline": list(csv.DictReader(file))}
            if len(sys.argv) > 2:
                namespace, name = sys.argv[2].split("/")
                item["spec"]["planRef"] = {"namespace": namespace, "name": name}
    print(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))


if __name__ == "__main__":
    main()
