#!/usr/bin/env python3
"""Mailfleet as a controller against a real API server, etcd and controller-manager, and local SMTP servers.

Each case has a namespace, a state folder and a controller of its own. One line a case; the last line is `N passed, N failed,
N skipped`. Under CI=true a skip is a failure. `--quick` for `make test`; words behind it choose cases by name.
"""

import argparse

from kube import basics, foreign, outages, scale, tenancy
from kube.place import Place
from parts import cluster
from parts.report import Cases, need


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="shorter outages, and no run with 5,000 servers")
    parser.add_argument("only", nargs="*", help="cases whose name holds one of these words")
    options = parser.parse_args()
    cases = Cases(options.only)
    with Place(options.quick) as place:
        print(f"{place.program}, Kubernetes {cluster.KUBERNETES}", flush=True)

        def run(case):
            def guarded():
                need(cluster.missing())
                return case(place)

            cases.run(case.__name__.replace("_", " "), guarded)

        for case in (
            basics.conditions,
            basics.explained,
            basics.rotated_secret,
            basics.unparsable,
            basics.same_names,
            basics.flapping_server,
            basics.resumed_by_annotation,
            outages.leader_killed,
            outages.leader_paused,
            outages.api_server_away,
            outages.deleted_while_sending,
            outages.deleted_when_unfit,
            outages.cluster_wiped,
            outages.statuses_fought_over,
            *foreign.CASES,
            tenancy.strangers,
            scale.many_objects,
            basics.no_secret_anywhere,
        ):
            run(case)
    cases.end()


if __name__ == "__main__":
    main()
