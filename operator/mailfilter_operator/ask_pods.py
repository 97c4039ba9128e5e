"""Ask filter pods what they serve: a small JSON over HTTP, from all pods of a filter at once, with a short patience."""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor

import urllib3
from urllib3.exceptions import HTTPError

from mailfilter_operator import names
from mailfilter_operator.pod_reports import LONGEST_REPORT, PodReport, parse_report

_TIMEOUT = urllib3.Timeout(connect=0.5, read=3.0)
"""In seconds. A pod that does not answer is asked again; a pass must not wait long for it."""

AskPods = Callable[[Iterable[str]], Mapping[str, PodReport]]
"""Reports by pod IP; of a pod that does not answer, or not with a report, none."""


def make_asker(executor: Executor, port: int = names.REPORT_PORT) -> AskPods:
    """An AskPods that asks on the threads of *executor*."""
    # Pods come and go: a kept connection would be to a pod that is gone. The environment's proxies are not for pods.
    pool = urllib3.PoolManager(num_pools=1, retries=False, timeout=_TIMEOUT)

    def ask_one(ip: str) -> PodReport | None:
        host = f"[{ip}]" if ":" in ip else ip
        try:
            response = pool.request(
                "GET",
                f"http://{host}:{port}{names.REPORT_PATH}",
                headers={"Connection": "close"},
                preload_content=False,
                redirect=False,
            )
            try:
                text = response.read(LONGEST_REPORT)
            finally:
                response.close()
            return parse_report(text) if response.status == 200 else None
        except (HTTPError, OSError, ValueError):
            return None

    def ask(ips: Iterable[str]) -> Mapping[str, PodReport]:
        asked = sorted(set(ips))
        answers = zip(asked, executor.map(ask_one, asked), strict=True)
        return {ip: report for ip, report in answers if report is not None}

    return ask
