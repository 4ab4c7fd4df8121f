#!/usr/bin/env python3
"""Mailfleet as a controller on a real API server, etcd and controller-manager, with local SMTP servers.

Each case has a namespace, a state folder and a controller of its own.
"""


from kube import basics, foreign, looks, outages, scale, tenancy
from kube.place import Clusters
from parts import cluster
from parts.report import Cases, Shared


def main():
    cases = Cases(__doc__)
    cases.option("--quick", action="store_true", help="shorter outages, and no run with 5,000 servers")
    options = cases.parse()
    cases.add_all(
        (
            basics.conditions,
            basics.kubectl_explain,
            basics.rotated_secret,
            basics.audience_with_a_secret,
            basics.demo_that_stays,
            basics.unparsable,
            basics.same_names,
            basics.flapping_server,
            basics.resumed_by_annotation,
            basics.paused_server_resumed,
            basics.promoted_by_annotation,
            outages.leader_killed,
            outages.leader_paused,
            outages.api_server_down,
            outages.deleted_while_sending,
            outages.deleted_after_a_crd_change,
            outages.cluster_wiped,
            outages.statuses_overwritten_by_others,
            *looks.CASES,
            *foreign.CASES,
            tenancy.customers_apart,
            scale.many_objects,
            basics.no_secret_anywhere,
        ),
        Shared(lambda: Clusters(options.quick)),
        needs=cluster.missing,
    )
    cases.end()


if __name__ == "__main__":
    main()
