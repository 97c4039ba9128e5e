"""The MailFilter operator: one custom resource describes a mail filter, this package makes it run and keeps it true.

One idempotent pass per MailFilter, in `reconcile`: observe, validate, build, apply, prune, status.

The core has no I/O, clock, entropy, environment or log: `errors`, `names`, `api` (the resource as data),
`observed` (the cluster as data), `dkim` (keys, records, slots), `validate`, `render` (configuration files),
`build` (Kubernetes objects), `ownership` (is it ours), `drift` and
`managed_fields` (is it still as applied), `status` (conditions and records).

The shell does I/O and decides nothing: `cluster` (the Kubernetes client), `settings`, `keygen`, `events`,
`observe`, `apply`, then `reconcile` (the pass), `workqueue` and `lease` (when, and who may write),
`handlers` (what wakes a pass), `__main__`.
"""
