import {
  CAPTURE_ANNOTATION,
  CAPTURE_PORTS_ANNOTATION,
  CAPTURED_PORTS,
  EGRESS_ANNOTATION,
  SIDECAR_PORTS,
} from '../../api/pods.ts';
import { webhookError } from '../errors.ts';

const MODES = ['proxy', 'baseURL', 'transparent'] as const;
type Mode = (typeof MODES)[number];
/** sidecar/pod/podBootstrap.ts listens on no more. */
const PORTS_LIMIT = 64;

/** How a pod's requests come to its sidecar, as its annotations say. */
export interface Capture {
  mode: Mode;
  egress: 'Open' | 'Closed';
  /** The i-th is redirected to `SIDECAR_PORTS.transparentBase + i`; none unless transparent. */
  ports: readonly number[];
}

/**
 * A word that is none of ours is refused rather than taken for the default: a pod that meant `Closed` must not run as `Open`.
 *
 * @throws CaptureInvalid, CapturePortsInvalid, EgressInvalid
 */
export function captureOf(annotations: Readonly<Record<string, string>>, egress: Capture['egress']): Capture {
  const mode = annotations[CAPTURE_ANNOTATION] ?? 'proxy';
  if (!isMode(mode))
    throw webhookError('CaptureInvalid', invalid(CAPTURE_ANNOTATION, mode, 'proxy, baseURL or transparent'));
  const said = annotations[EGRESS_ANNOTATION] ?? egress;
  if (said !== 'Open' && said !== 'Closed')
    throw webhookError('EgressInvalid', invalid(EGRESS_ANNOTATION, said, 'Open or Closed'));
  const ports = portsOf(annotations[CAPTURE_PORTS_ANNOTATION] ?? '');
  return { mode, egress: said, ports: mode === 'transparent' ? ports : [] };
}

function isMode(text: string): text is Mode {
  return (MODES as readonly string[]).includes(text);
}

/** The usual ones first, each once. */
function portsOf(text: string): readonly number[] {
  const items = text.split(',').map((item) => item.trim());
  const further = items.length === 1 && items[0] === '' ? [] : items;
  const ports = new Set<number>(CAPTURED_PORTS);
  for (const item of further) {
    const port = /^[1-9][0-9]{0,4}$/.test(item) ? Number(item) : 0;
    if (port === 0 || port > 65_535 || isOwn(port)) throw portsInvalid(text);
    ports.add(port);
  }
  if (ports.size > PORTS_LIMIT) throw portsInvalid(text);
  return [...ports];
}

function isOwn(port: number): boolean {
  const { health, proxy, transparentBase } = SIDECAR_PORTS;
  return port === health || port === proxy || (port >= transparentBase && port < transparentBase + PORTS_LIMIT);
}

function portsInvalid(text: string) {
  const expected = `at most ${PORTS_LIMIT - CAPTURED_PORTS.length} TCP ports with commas between, none of the sidecar's own`;
  return webhookError('CapturePortsInvalid', invalid(CAPTURE_PORTS_ANNOTATION, text, expected));
}

function invalid(annotation: string, value: string, expected: string): string {
  const shown = value.length > 60 ? `${value.slice(0, 60)}…` : value;
  return `the annotation ${annotation} is ${JSON.stringify(shown)}; expected ${expected}`;
}
