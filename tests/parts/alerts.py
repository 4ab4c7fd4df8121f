"""When each alert of the chart fires, and when it does not: series for promtool, a value for each minute, or hour."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from .cache import ROOT

RULES = ROOT / "charts/mailfleet/files/rules.yaml"
TARGET = 'job="mailfleet",instance="10.0.0.1:9091"'
SERVER, CAMPAIGN = 'server="ops/relay"', 'campaign="shop/spring"'


def series(name: str, values: str, *labels: str) -> tuple[str, str]:
    """One series of the one target."""
    return f"mailfleet_{name}{{{','.join((TARGET, *labels))}}}", values


@dataclass(frozen=True)
class Alert:
    """An alert: series with which it fires after so many minutes, and others with which it does not."""

    name: str
    fires: list[tuple[str, str]]
    quiet: list[list[tuple[str, str]]]
    minutes: int
    labels: dict[str, str] = field(default_factory=dict)
    # The minutes from one value to the next, and from one evaluation to the next.
    step: int = 1


def active(values: str):
    return series("server_active", values, SERVER)


def users(values: str):
    return series("server_campaigns", values, SERVER)


def state(word: str, values: str):
    return series("campaign_state", values, CAMPAIGN, f'state="{word}"')


def recipients(outcome: str, values: str):
    return series("campaign_recipients", values, CAMPAIGN, f'outcome="{outcome}"')


def came_back(kind: str, values: str):
    return series("campaign_feedback_messages", values, CAMPAIGN, f'kind="{kind}"')


def condition(of: str, which: str, kind: str, values: str):
    return series(f"{of}_condition", values, which, f'condition="{kind}"', 'status="True"' if of == "campaign" else 'status="False"')


def commits(fast: str, slow: str):
    buckets = [("0.1", fast), ("0.5", slow), ("+Inf", slow)]
    return [series("ledger_commit_duration_seconds_bucket", values, f'le="{bound}"') for bound, values in buckets]


SENDING, LEADS = state("Sending", "1x3000"), series("leader", "1x3000")
BOUNCE_LIMIT = series("campaign_stop_bounce_ratio", "0.1x60", CAMPAIGN)
COMPLAINT_LIMIT = series("campaign_stop_complaint_ratio", "0.003x60", CAMPAIGN)
FREE, SIZE = "ledger_filesystem_free_bytes", series("ledger_filesystem_size_bytes", "1000x3000")
OF_SERVER, OF_CAMPAIGN = {"server": "ops/relay"}, {"campaign": "shop/spring"}

ALERTS = [
    Alert("MailfleetAbsent", [series("build_info", "1x2 stale")], [[series("build_info", "1x60")]], 20),
    Alert("MailfleetNotLeading", [series("leader", "0x60")], [[series("leader", "1x60")], [series("leader", "0x60"), ('mailfleet_leader{job="mailfleet",instance="10.0.0.2:9091"}', "1x60")]], 10),
    # Unix time in these tests begins at 0.
    Alert("MailfleetEngineStuck", [series("last_turn_timestamp_seconds", "0x60"), LEADS], [[series("last_turn_timestamp_seconds", "0+60x60"), LEADS], [series("last_turn_timestamp_seconds", "0x60"), series("leader", "0x60")]], 10),
    Alert("MailfleetConfigBroken", [series("config_last_reload_successful", "0x60"), LEADS], [[series("config_last_reload_successful", "0x7 1x60"), LEADS], [series("config_last_reload_successful", "0x60"), series("leader", "0x60")]], 15),
    Alert("MailfleetLedgerNotWritable", [series("ledger_writable", "0x60")], [[series("ledger_writable", "1x60")]], 5),
    Alert(
        "MailfleetLedgerDiskFilling",
        # 500 of 1,000 are left, and a tenth of that goes each hour.
        [series(FREE, "490-0.8x600"), SIZE],
        [[series(FREE, "500x600"), SIZE], [series(FREE, "990-0.8x600"), SIZE]],
        400,
    ),
    Alert("MailfleetLedgerDiskFilling", [series(FREE, "90x60"), SIZE], [[series(FREE, "110x60"), SIZE]], 30),
    Alert("MailfleetLedgerCommitSlow", commits("0+1x60", "0+10x60"), [commits("0+95x60", "0+100x60"), commits("0x60", "0x60")], 45),
    Alert("MailfleetServerInactive", [active("0x60"), users("2x60")], [[active("1x60"), users("2x60")], [active("0x60"), users("0x60")], [active("0x8 1x60"), users("2x60")], [active("0x60"), users("2x60"), series("server_reason", "1x60", SERVER, 'reason="Disabled"')]], 15, OF_SERVER),
    Alert("MailfleetProbeFailing", [condition("server", SERVER, "Probed", "1x60"), users("0x60")], [[condition("server", SERVER, "Probed", "0x60")], [condition("server", SERVER, "Probed", "1x60"), users("1x60")]], 45, OF_SERVER),
    Alert("MailfleetServerPaused", [series("server_paused_namespaces", "1x60", SERVER)], [[series("server_paused_namespaces", "0x60", SERVER)]], 5, OF_SERVER),
    Alert("MailfleetWarmupHeld", [series("server_warmup_held_steps", "0x24 1x24 2x24", SERVER)], [[series("server_warmup_held_steps", "2x72", SERVER)], [series("server_warmup_held_steps", "0x48 1x24", SERVER)]], 54 * 60, OF_SERVER, step=60),
    Alert("MailfleetNoServerLeft", [series("campaign_reason", "1x60", CAMPAIGN, 'reason="WaitingForServer"')], [[series("campaign_reason", "1x60", CAMPAIGN, 'reason="WaitingForLimits"')]], 10, OF_CAMPAIGN),
    Alert("MailfleetCampaignStopped", [state("Stopped", "1x60")], [[state("Stopped", "0x60"), state("Completed", "1x60")]], 5, OF_CAMPAIGN),
    Alert("MailfleetCampaignStalled", [condition("campaign", CAMPAIGN, "Stalled", "1x60"), state("Stopped", "0x60")], [[condition("campaign", CAMPAIGN, "Stalled", "0x60")], [condition("campaign", CAMPAIGN, "Stalled", "1x60"), state("Stopped", "1x60")]], 20, OF_CAMPAIGN),
    Alert(
        "MailfleetBacklogNotMoving",
        [series("campaign_backlog_recipients", "500x100", CAMPAIGN), SENDING],
        [
            [series("campaign_backlog_recipients", "500-1x100", CAMPAIGN), SENDING],
            [series("campaign_backlog_recipients", "0x100", CAMPAIGN), SENDING],
            # It waits for a limit, for instance.
            [series("campaign_backlog_recipients", "500x100", CAMPAIGN), state("Sending", "0x100"), state("Waiting", "1x100")],
            [series("campaign_backlog_recipients", "500x100", CAMPAIGN), state("Sending", "0x20 1x80")],
        ],
        45,
        OF_CAMPAIGN,
    ),
    Alert("MailfleetUnknownOutcomes", [recipients("Unknown", "3x60")], [[recipients("Unknown", "0x60")]], 5, OF_CAMPAIGN),
    Alert(
        "MailfleetBounceRateHigh",
        [recipients("Rejected", "50x60"), recipients("Accepted", "950x60"), came_back("Bounced", "30x60"), BOUNCE_LIMIT, SENDING],
        [
            [recipients("Rejected", "30x60"), recipients("Accepted", "970x60"), came_back("Bounced", "30x60"), BOUNCE_LIMIT, SENDING],
            # Too few to tell, and a campaign that is over.
            [recipients("Rejected", "50x60"), recipients("Accepted", "50x60"), came_back("Bounced", "0x60"), BOUNCE_LIMIT, SENDING],
            [recipients("Rejected", "90x60"), recipients("Accepted", "910x60"), came_back("Bounced", "0x60"), BOUNCE_LIMIT, state("Sending", "0x60")],
        ],
        5,
        OF_CAMPAIGN,
    ),
    Alert(
        "MailfleetComplaintRateHigh",
        [recipients("Accepted", "1000x60"), came_back("Complained", "3x60"), COMPLAINT_LIMIT, SENDING],
        [[recipients("Accepted", "1000x60"), came_back("Complained", "2x60"), COMPLAINT_LIMIT, SENDING], [recipients("Accepted", "90x60"), came_back("Complained", "3x60"), COMPLAINT_LIMIT, SENDING]],
        5,
        OF_CAMPAIGN,
    ),
]


def names() -> list[str]:
    """The alerts of the rules, in their order."""
    lines = RULES.read_text(encoding="utf-8").splitlines()
    return [line.split(": ")[1] for line in lines if line.strip().startswith("- alert: ")]


def case(alert: Alert, given: list[tuple[str, str]], fires: bool) -> dict:
    """A test of promtool. Alerts are series of Prometheus as well, which spares their whole texts here."""
    wanted = "".join(f',{name}="{value}"' for name, value in alert.labels.items())
    expression = f'count by (alertname) (ALERTS{{alertname="{alert.name}",alertstate="firing"{wanted}}})'
    samples = [{"labels": f'{{alertname="{alert.name}"}}', "value": 1}] if fires else []
    return {
        "interval": f"{alert.step}m",
        "input_series": [{"series": name, "values": values} for name, values in given],
        "promql_expr_test": [{"expr": expression, "eval_time": f"{alert.minutes}m", "exp_samples": samples}],
    }


def tests(step: int) -> list[dict]:
    """promtool's unit tests of the alerts with that step: each with what makes it fire, and with what does not."""
    made = []
    for alert in (alert for alert in ALERTS if alert.step == step):
        made.append(case(alert, alert.fires, True))
        made += [case(alert, given, False) for given in alert.quiet]
    return made


def write(path: Path, step: int, made: list[dict]) -> Path:
    """A file of tests. JSON is YAML."""
    path.write_text(json.dumps({"rule_files": [str(RULES)], "evaluation_interval": f"{step}m", "tests": made}, indent=1))
    return path
