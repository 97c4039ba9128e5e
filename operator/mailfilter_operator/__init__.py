"""The MailFilter operator: one custom resource describes a mail filter, this package makes it run and keeps it true.

One idempotent pass per MailFilter, in `reconcile`: observe, validate, build, apply, prune, status.

The core has no I/O, clock, entropy, environment or log: `errors`, `names`, `ucl` (rspamd's syntax), `api` (the resource
as data), `references` (Secrets and ConfigMaps that it names), `observed` (the cluster as data), `dkim` (keys, records,
slots), `credentials` (the password's hash), `lists` (senders), `raw_text` (the user's own text, and what is not his to
set), `policies` (what becomes of a mail by its virus scan), `memory` (what containers need and get), `way_out`
(freshclam's proxy and certificates), `validate`, `render` (configuration files), `serving` (which raw text serves),
`raw_trial` (what becomes of a new one), `plan` (what serves and what is tried), `build` (Kubernetes objects),
`ownership` (is it ours), `drift` and `managed_fields` (is it still as applied), `pod_reports` (what a pod says of
itself), `delivery` (which pod is told what), `reload_turns` (which pod may load signatures now), `status` (conditions
and records).

The shell does I/O and decides nothing: `cluster` (the Kubernetes client), `settings`, `keygen`, `passwords`, `events`,
`observe`, `apply`, `ask_pods`, `deliver` (tell the pods and ask them), then `reconcile` (the pass), `workqueue` and
`lease` (when, and who may write), `handlers` (what wakes a pass), `__main__`.
"""
