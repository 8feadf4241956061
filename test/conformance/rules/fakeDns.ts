import dns, { type LookupAddress } from 'node:dns';
import { syncBuiltinESMExports } from 'node:module';
import { isIP } from 'node:net';

/**
 * Preloaded into a sidecar process: a name server that answers as an attacker's would. TEST_DNS is JSON: name → the answers,
 * one after the other, each a list of addresses; the last one is repeated.
 */
const answers: Record<string, string[][]> = JSON.parse(process.env.TEST_DNS ?? '{}');

function lookup(
  host: string,
  _options: object,
  callback: (error: Error | null, addresses: LookupAddress[]) => void,
): void {
  const list = isIP(host) === 0 ? (answers[host] ?? []) : [[host]];
  const addresses = (list.length > 1 ? list.shift() : list[0]) ?? [];
  const error = addresses.length === 0 ? Object.assign(new Error('no such name'), { code: 'ENOTFOUND' }) : null;
  setImmediate(
    callback,
    error,
    addresses.map((address) => ({ address, family: isIP(address) })),
  );
}

Object.assign(dns, { lookup });
syncBuiltinESMExports();
