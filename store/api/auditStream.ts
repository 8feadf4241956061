import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import type { AuditReading } from '../audit/audit.ts';
import type { Store } from '../core.ts';

/** Answers with the audit, one entry a line; as slowly as the reader reads, and without end if it follows. */
export async function streamAudit(
  response: ServerResponse,
  { audit, draining }: Pick<Store, 'audit' | 'draining'>,
  reading: Omit<AuditReading, 'signal'>,
): Promise<void> {
  const gone = new AbortController();
  response.once('close', () => gone.abort());
  response.on('error', () => gone.abort());
  const signal = AbortSignal.any([gone.signal, draining]);
  response.writeHead(200, { 'content-type': 'application/x-ndjson', 'cache-control': 'no-store' });
  response.flushHeaders();
  try {
    for await (const entry of audit.read({ ...reading, signal })) {
      if (!response.write(`${JSON.stringify(entry)}\n`)) await once(response, 'drain', { signal });
    }
    response.end();
  } catch {
    response.destroy(); // A cut answer must not look like a whole one.
  }
}
