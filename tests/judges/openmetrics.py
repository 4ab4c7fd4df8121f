"""Reads metrics by Prometheus's own client for Python, in its strict parser of OpenMetrics or that of the text format 0.0.4.

Input: the text. Argument: `openmetrics` or `text`. Output: JSON, a list of families with name, type, unit, help and samples.
"""

import json
import sys

from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics

read = {"openmetrics": openmetrics, "text": parser}[sys.argv[1]].text_string_to_metric_families
families = [
    {
        "name": family.name,
        "type": family.type,
        "unit": family.unit,
        "help": family.documentation,
        "samples": [{"name": sample.name, "labels": sample.labels, "value": sample.value} for sample in family.samples],
    }
    for family in read(sys.stdin.read())
]
json.dump(families, sys.stdout)
