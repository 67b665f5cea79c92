"""Print the local tenant's connections as ``airflow connections import`` reads them.

The argument is the file with the line that the local tenant printed when it was ready.
"""

import json
import sys
from pathlib import Path

from local_system.system import TenantInfo

tenant = TenantInfo.model_validate_json(Path(sys.argv[1]).read_text(encoding="utf-8"))
connections = {
    name.removeprefix("AIRFLOW_CONN_").lower(): json.loads(connection)
    for name, connection in tenant.airflow_connections().items()
}
print(json.dumps(connections))
