import type { SidecarBootstrap } from '../api/bootstrap.ts';
import { startError } from './startErrors.ts';

/** Bounds of the data path; `defaultBounds` unless a test needs others. */
export interface Bounds {
  /** Bytes of one head, of a request or an answer. */
  headLimitBytes: number;
  /** Agent connections at one time. */
  clientConnectionLimit: number;
  /** From the first byte of a head to its end, and for the TLS handshake of an intercepted connection. */
  headTimeoutMs: number;
  /** An agent connection without a request. */
  idleTimeoutMs: number;
  /** Without a byte of a request's body that is expected. */
  bodyTimeoutMs: number;
  /** Until the head of the answer: models may think for minutes. */
  answerTimeoutMs: number;
  /** From the first byte of the answer's head to its end, however steadily it drips. */
  headTotalMs: number;
  /** Between two bytes of an answer, and of a tunnel. */
  silenceTimeoutMs: number;
  /** Bytes of later, pipelined requests that are kept while one is being answered. */
  pipelineLimitBytes: number;
  /** For the first grants of a session. */
  grantsWaitMs: number;
}

export const defaultBounds: Bounds = {
  headLimitBytes: 64 * 1024,
  clientConnectionLimit: 16_384,
  headTimeoutMs: 10_000,
  idleTimeoutMs: 120_000,
  bodyTimeoutMs: 60_000,
  answerTimeoutMs: 600_000,
  headTotalMs: 60_000,
  silenceTimeoutMs: 600_000,
  pipelineLimitBytes: 64 * 1024,
  grantsWaitMs: 10_000,
};

type Check = (value: unknown) => boolean;

const text: Check = (value) => typeof value === 'string' && value !== '';
const port: Check = (value) => Number.isInteger(value) && (value as number) >= 0 && (value as number) <= 65_535;

const CHECKS: Record<keyof SidecarBootstrap, { check: Check; expected: string }> = {
  part: { check: (value) => value === 'sidecar', expected: 'sidecar' },
  storeUrl: { check: areHttpsUrls, expected: 'https:// URLs with commas between' },
  trustBundlePem: { check: text, expected: 'a PEM text' },
  joinToken: { check: text, expected: 'a token' },
  proxyPort: { check: port, expected: 'a port, or 0' },
  healthPort: { check: port, expected: 'a port, or 0' },
  egress: { check: (value) => value === 'Open' || value === 'Closed', expected: 'Open or Closed' },
  bundleFile: { check: text, expected: 'a file name' },
  extraCaFile: { check: (value) => value === undefined || text(value), expected: 'a file name' },
};

/** Checks what the parent process handed over; by hand, as a schema library costs 8 MB. @throws BootstrapInvalid that names the fields, never their values. */
export function sidecarBootstrap(value: unknown): SidecarBootstrap {
  const given = (typeof value === 'object' ? value : null) as Readonly<Record<string, unknown>> | null;
  if (given === null) throw startError('BootstrapInvalid', 'The bootstrap of the sidecar is no object.');
  const problems = Object.entries(CHECKS)
    .filter(([name, { check }]) => !check(given[name]))
    .map(([name, { expected }]) => `${name}: expected ${expected}`);
  for (const name of Object.keys(given)) if (!Object.hasOwn(CHECKS, name)) problems.push(`${name}: unknown`);
  if (problems.length > 0)
    throw startError('BootstrapInvalid', `The bootstrap of the sidecar is not valid: ${problems.join('; ')}.`);
  return given as unknown as SidecarBootstrap;
}

export function areHttpsUrls(value: unknown): boolean {
  const isHttps = (url: string) => URL.canParse(url) && new URL(url).protocol === 'https:';
  return typeof value === 'string' && value.split(',').every(isHttps);
}
