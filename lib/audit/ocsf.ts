import { hostPort, refused, sentence } from './outcome.ts';
import type { AuditRow } from './row.ts';

/** The version of the Open Cybersecurity Schema Framework (schema.ocsf.io) that events are written in. */
export const OCSF_VERSION = '1.3.0';

interface OcsfClass {
  uid: number;
  name: string;
  category: { uid: number; name: string };
}

const IAM = { uid: 3, name: 'Identity & Access Management' };
const AUTHENTICATION: OcsfClass = { uid: 3002, name: 'Authentication', category: IAM };
const ENTITY: OcsfClass = { uid: 3004, name: 'Entity Management', category: IAM };
const API: OcsfClass = { uid: 6003, name: 'API Activity', category: { uid: 6, name: 'Application Activity' } };

const CREATE = 1;
const READ = 2;
const UPDATE = 3;
const DELETE = 4;
const OTHER = 99;
const LOGON = 1;
const LOGOFF = 2;
/** HTTP methods as activities of API Activity. */
const METHODS: Readonly<Record<string, number>> = {
  GET: READ,
  HEAD: READ,
  POST: CREATE,
  PUT: UPDATE,
  PATCH: UPDATE,
  DELETE,
};

/** One event of OCSF: uses and leases are API Activity, sessions Authentication, all else Entity Management. */
export function ocsfOf(row: AuditRow, version: string): object {
  const kind = classOf(row);
  const activity = activityOf(row, kind);
  const bad = refused(row);
  return {
    class_uid: kind.uid,
    class_name: kind.name,
    category_uid: kind.category.uid,
    category_name: kind.category.name,
    activity_id: activity,
    type_uid: kind.uid * 100 + activity,
    time: Date.parse(row.at),
    severity_id: bad ? 3 : 1,
    severity: bad ? 'Medium' : 'Informational',
    status_id: bad ? 2 : 1,
    status: bad ? 'Failure' : 'Success',
    ...(row.refusal !== undefined && { status_code: row.refusal }),
    message: sentence(row),
    ...(row.count !== undefined && { count: row.count }),
    ...(row.durationMs !== undefined && { duration: Math.round(row.durationMs) }),
    metadata: {
      version: OCSF_VERSION,
      uid: row.id,
      product: { name: 'Sidekey', vendor_name: 'Sidekey', version },
      event_code: row.kind,
      ...(row.requestId !== undefined && { correlation_uid: row.requestId }),
    },
    ...particulars(row, kind),
    unmapped: unmapped(row),
  };
}

function classOf({ kind }: AuditRow): OcsfClass {
  if (/^(use|use\.|lease\.)/.test(kind)) return API;
  if (/^(session|operator|join|renew|identity|request)\./.test(kind)) return AUTHENTICATION;
  return ENTITY;
}

function activityOf(row: AuditRow, kind: OcsfClass): number {
  if (kind === AUTHENTICATION) return row.kind === 'session.ended' ? LOGOFF : LOGON;
  if (kind === API) return row.kind === 'lease.issued' ? CREATE : (METHODS[row.method ?? ''] ?? OTHER);
  if (/\.(removed|deleted|pruned)$/.test(row.kind)) return DELETE;
  if (/\.(revealed|reported)$/.test(row.kind)) return READ;
  if (/\.(generated|issued|started)$/.test(row.kind)) return CREATE;
  return UPDATE;
}

function particulars(row: AuditRow, kind: OcsfClass): object {
  const session = row.session === undefined ? undefined : { uid: row.session };
  const user = { name: row.requester ?? row.by ?? 'store', type_id: 0 };
  if (kind === AUTHENTICATION)
    return {
      user,
      ...(session && { session }),
      service: { name: 'sidekey-store' },
      ...endpoint('src_endpoint', row.from),
    };
  const actor = { user, ...(session && { session }) };
  if (kind === ENTITY)
    return {
      actor,
      entity: { name: row.credential ?? row.integration ?? row.session ?? row.kind, type: row.kind.split('.')[0] },
    };
  return {
    actor,
    api: {
      operation: row.method === undefined ? row.kind : `${row.method} ${row.path ?? ''}`.trimEnd(),
      service: { name: row.integration ?? 'sidekey-store' },
      ...(row.requestId !== undefined && { request: { uid: row.requestId } }),
      ...(row.status !== undefined && { response: { code: row.status } }),
    },
    src_endpoint: {
      ...(row.pod && { name: row.pod.name, uid: row.pod.uid }),
      ...(endpoint('of', row.from) as { of?: object }).of,
      ...(row.pod === undefined && row.from === undefined && { name: row.session ?? 'unknown' }),
    },
    ...endpoint('dst_endpoint', row.authority),
    ...(row.method !== undefined && {
      http_request: {
        http_method: row.method,
        url: { hostname: hostPort(row.authority)?.host ?? '', path: row.path ?? '' },
        ...(row.bytesUp !== undefined && { length: row.bytesUp }),
      },
    }),
    ...(row.status !== undefined && {
      http_response: { code: row.status, ...(row.bytesDown !== undefined && { length: row.bytesDown }) },
    }),
    ...(row.credential !== undefined && {
      resources: [
        {
          name: row.credential,
          type: 'Credential',
          ...(row.version !== undefined && { version: String(row.version) }),
          ...(row.namespace !== undefined && { namespace: row.namespace }),
        },
      ],
    }),
  };
}

function endpoint(name: string, address: string | undefined): Record<string, object> {
  const parts = hostPort(address);
  if (parts === undefined) return {};
  const numeric = /^[0-9.]+$/.test(parts.host) || parts.host.includes(':');
  return { [name]: { [numeric ? 'ip' : 'hostname']: parts.host, port: parts.port } };
}

/** What the schema has no place for. */
function unmapped({
  lease,
  integration,
  rule,
  namespace,
  serviceAccount,
  role,
  tags,
  lastRequestId,
  expiresAt,
  details,
}: AuditRow): object {
  return { lease, integration, rule, namespace, serviceAccount, role, tags, lastRequestId, expiresAt, details };
}
