import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/log.ts';
import type { Bounds } from './config.ts';
import type { LiveGrants } from './grants/liveGrants.ts';
import type { InterceptCa } from './listen/interceptCa.ts';
import type { Metrics } from './record/metrics.ts';
import type { UsageLog } from './record/usage.ts';
import type { Upstreams } from './upstream/upstreams.ts';

/** All that the data path works with; app.ts builds it once. */
export interface SidecarDeps {
  readonly clock: Clock;
  readonly log: Logger;
  readonly grants: LiveGrants;
  readonly upstreams: Upstreams;
  readonly usage: UsageLog;
  readonly metrics: Metrics;
  readonly ca: InterceptCa;
  readonly egress: 'Open' | 'Closed';
  /** Ports that this process listens on; filled as they become known. */
  readonly ownPorts: Set<number>;
  readonly limits: Bounds;
}
