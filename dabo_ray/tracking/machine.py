"""System metrics of the machine of the driver."""

from __future__ import annotations


def system_metrics() -> dict[str, float]:
    """How busy this machine is since the last call, under the names that MLflow's page of system metrics reads."""
    import psutil  # type: ignore[import-untyped]

    memory = psutil.virtual_memory()
    return {
        "system/cpu_utilization_percentage": psutil.cpu_percent(),
        "system/system_memory_usage_megabytes": memory.used / 1e6,
        "system/system_memory_usage_percentage": memory.percent,
    }
