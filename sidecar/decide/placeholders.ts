import { PLACEHOLDER_MARK } from '../../api/placeholder.ts';
import { type Refusal, refuse } from '../errors.ts';
import type { Entry } from '../grants/entry.ts';
import type { GrantTable } from '../grants/table.ts';
import { type Authority, authorityText } from './authority.ts';
import type { Trace } from './step.ts';

/** A placeholder without the prefix that makes it well formed for its SDK. */
const MARKED = new RegExp(`${PLACEHOLDER_MARK}[0-9a-f]{32}`, 'g');
const MARK_LENGTH = PLACEHOLDER_MARK.length + 32;
/** The one place where clients encode what they hold (RFC 7617). */
const BASIC = /\nauthorization:[ \t]*basic[ \t]+([a-z0-9+/]+)/i;

/**
 * Of the entries that cover the authority those whose credentials the placeholders in the head stand for; all of them if it has none.
 *
 * A placeholder only picks among credentials that are granted for the authority (data path rule 1): any other is PlaceholderNotGranted.
 */
export function byPlaceholder(
  table: GrantTable,
  covering: readonly Entry[],
  request: { readonly authority: Authority; readonly text: string },
  trace: Trace | undefined,
): readonly Entry[] | Refusal {
  const { authority, text } = request;
  if (trace === undefined && covering.length === 1 && holdsOnly(text, covering[0]!)) return covering;
  // Nearly always none. What is base64 is looked at only where there is a choice.
  const marks = text.includes(PLACEHOLDER_MARK) ? marksIn(text) : covering.length > 1 ? marksInBasic(text) : undefined;
  if (marks === undefined) return covering;
  const stranger = marks.find((mark) => !covering.some((entry) => standsFor(mark, entry)));
  if (stranger !== undefined) {
    const detail = notGranted(stranger, table, authority);
    trace?.({ check: 'placeholder', ok: false, detail });
    return refuse('PlaceholderNotGranted', detail);
  }
  const meant = covering.filter((entry) => marks.some((mark) => standsFor(mark, entry)));
  if (trace !== undefined) {
    const credentials = [...new Set(meant.map((entry) => entry.credential))].join(' and ');
    trace({
      check: 'placeholder',
      ok: true,
      detail: `the request carries the placeholder of credential ${credentials}`,
    });
  }
  return meant;
}

function marksIn(text: string): readonly string[] | undefined {
  return text.match(MARKED) ?? undefined;
}

function marksInBasic(text: string): readonly string[] | undefined {
  const encoded = BASIC.exec(text)?.[1];
  return encoded === undefined ? undefined : marksIn(Buffer.from(encoded, 'base64').toString('latin1'));
}

/** Whether the one mark in the text is the entry's: what nearly all requests hold, and told without making anything. */
function holdsOnly(text: string, { grant: { placeholder } }: Entry): boolean {
  const at = text.indexOf(PLACEHOLDER_MARK);
  const mark = placeholder.slice(-MARK_LENGTH);
  if (at === -1 || mark.length < MARK_LENGTH || !mark.startsWith(PLACEHOLDER_MARK)) return false;
  return text.startsWith(mark, at) && text.indexOf(PLACEHOLDER_MARK, at + mark.length) === -1;
}

function standsFor(mark: string, entry: Entry): boolean {
  return entry.grant.placeholder.endsWith(mark);
}

function notGranted(mark: string, table: GrantTable, authority: Authority): string {
  const owner = table.entries.find((entry) => standsFor(mark, entry));
  return owner === undefined
    ? 'the request carries the placeholder of a credential that no Integration of this session grants'
    : `the request carries the placeholder of credential ${owner.credential}, which Integration ${owner.integration} grants for ${owner.grant.hosts.join(', ')}, not for ${authorityText(authority)}`;
}
