import { X509Certificate } from 'node:crypto';
import type { Clock } from '../../lib/clock.ts';
import type { Store } from '../core.ts';
import { activeIntermediate } from '../identity/caState.ts';
import type { Health } from './health.ts';
import type { StoreMetrics } from './storeMetrics.ts';

/** Before the store is open, and after: whether it serves. */
export function healthGauges(metrics: StoreMetrics, health: Health): void {
  const flag = (value: boolean) => (value ? 1 : 0);
  metrics.gauge('sealed', 'Whether the key encryption key cannot be used.', () => flag(health.sealed !== undefined));
  metrics.gauge('ready', 'Whether requests are served.', () => flag(health.last.ready));
  metrics.gauge('database_up', 'Whether the database answered last.', () => flag(health.last.database));
}

/** What there is in an open store. */
export function storeGauges(
  metrics: StoreMetrics,
  options: { store: Store; clock: Clock; serverCertificate: () => string },
): void {
  const { clock, serverCertificate, store } = options;
  const { auditExports, ca, hub, identities, state, vault } = store;
  metrics.gauge('leader', 'Whether this process does the work that falls due for all replicas.', () =>
    store.leader ? 1 : 0,
  );
  metrics.gauge('sessions', 'Sessions that have not ended.', () => [...identities.sessions()].length);
  metrics.gauge('streams', 'Event streams open now.', () => hub.count(), 'kind');
  metrics.gauge('credentials', 'Credentials that are known.', () => state.credentials.size);
  metrics.gauge('integrations', 'Integrations that are known.', () => state.integrations.size);
  metrics.gauge('kek_age_seconds', 'Age of the key encryption key in use, where its provider tells.', () => {
    const { current, provider } = vault.keyring;
    const createdAtMs = provider?.keys.find(({ id }) => id === current)?.createdAtMs;
    return createdAtMs === undefined ? undefined : Math.max(0, (clock.nowMs() - createdAtMs) / 1000);
  });
  const lag = (of: 'seconds' | 'entries' | 'failures') =>
    Object.fromEntries(auditExports.lag().map((one) => [one.name, one[of]]));
  metrics.gauge(
    'audit_export_lag_seconds',
    'Age of the oldest entry not delivered yet.',
    () => lag('seconds'),
    'export',
  );
  metrics.gauge('audit_export_lag_entries', 'Audit entries not delivered yet.', () => lag('entries'), 'export');
  metrics.gauge('audit_export_failures', 'Deliveries that failed since the start.', () => lag('failures'), 'export');
  metrics.gauge(
    'certificate_expires_at_seconds',
    'When the certificates in use expire, in seconds since 1970.',
    () => {
      const intermediate = activeIntermediate(ca.state);
      const root = ca.state.roots.find(({ id }) => id === intermediate.root);
      return {
        ...(root && { root: expiry(root.certificatePem) }),
        intermediate: expiry(intermediate.certificatePem),
        server: expiry(serverCertificate()),
      };
    },
    'certificate',
  );
}

function expiry(pem: string): number {
  return new X509Certificate(pem).validToDate.getTime() / 1000;
}
