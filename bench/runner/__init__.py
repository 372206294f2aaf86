"""The runner of `neap bench`: runs workloads under allocators, samples their memory, and reports.

Read in this order: cli, plan, schedule, execute (page, sampler, command, limits), figures, results, then what shows
them: table, report (verdicts, svg), compare, expressions. Python's standard library only.
"""
