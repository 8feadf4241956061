import type { Placement as PlacementSpec } from '../../api/integration.ts';
import { type Refusal, refuse } from '../errors.ts';
import type { Fields } from '../http1/fields.ts';
import { base64 } from './base64.ts';
import type { Draft, Segment } from './draft.ts';
import { echoForms } from './echoForms.ts';
import { jsonEscaped } from './jsonEscaping.ts';
import { percentEncoded } from './percentEncoding.ts';
import { bodyEncodingOf, PlaceholderBody } from './placeholderBody.ts';
import type { Placement } from './placement.ts';
import type { SecretBuffers } from './secretBuffers.ts';
import { hasControlBytes, secretField, unfitForHeader } from './secretField.ts';

/** The material takes the place of the placeholder wherever the agent has put it, within the named parts of the request. */
export function placeholder(spec: NonNullable<PlacementSpec['placeholder']>, text: string): Placement {
  const parts = new Set(spec.in);
  const needle = [Buffer.from(text, 'latin1')] as const;
  return {
    prepare(material, secrets) {
      const raw = secretField(material, spec.field);
      if ('kind' in raw) return raw;
      const percent = percentEncoded(raw, secrets);
      const encodings = { raw, percent, json: jsonEscaped(raw, secrets) };
      const fitForHeader = !hasControlBytes(raw);
      return {
        needles: echoForms(raw, secrets),
        place(draft) {
          if (parts.has('Header') && replaceInFields(draft, text, raw) && !fitForHeader)
            return unfitForHeader(spec.field);
          if (parts.has('Path')) draft.path = replaced(draft.path, text, percent);
          if (parts.has('Query')) draft.query = replaced(draft.query, text, percent);
          if (!parts.has('Body')) return undefined;
          const refusal = checkCoding(draft.request.fields);
          if (refusal !== undefined) return refusal;
          const encoding = bodyEncodingOf(draft.request.contentType);
          draft.body ??= new PlaceholderBody(needle, encodings[encoding]);
          return undefined;
        },
      };
    },
  };
}

/** Moves every field that holds the placeholder to `draft.lines`, with the material in it. False if there was none. */
function replaceInFields(draft: Draft, text: string, raw: Buffer): boolean {
  const { keys, names, values } = draft.request.fields;
  const found = new Map<string, true>();
  for (let i = 0; i < keys.length; i++) {
    const key = keys[i]!;
    if (!draft.drops(key) && valueWith(key, values[i]!, text, raw, draft.secrets) !== undefined) found.set(key, true);
  }
  // All fields of a name move together: their order carries meaning (RFC 9110 section 5.3).
  for (let i = 0; i < keys.length; i++) {
    const key = keys[i]!;
    if (!found.has(key)) continue;
    const value = valueWith(key, values[i]!, text, raw, draft.secrets) ?? [values[i]!];
    for (const part of [`${names[i]!}: `, ...value, '\r\n']) {
      draft.lines.push(typeof part === 'string' ? Buffer.from(part, 'latin1') : part);
    }
  }
  for (const key of found.keys()) draft.omit.add(key);
  return found.size > 0;
}

/** The field value with the material in it; undefined if the placeholder is not there. */
function valueWith(
  key: string,
  value: string,
  text: string,
  raw: Buffer,
  secrets: SecretBuffers,
): Segment[] | undefined {
  if (value.includes(text)) return replaced([value], text, raw);
  if (key !== 'authorization' || !/^basic /i.test(value)) return undefined;
  // git, and SDKs such as Stripe's, put what they hold into Basic (RFC 7617).
  const pair = Buffer.from(value.slice(6), 'base64').toString('latin1');
  if (!pair.includes(text)) return undefined;
  const parts = replaced([pair], text, raw).map((part) =>
    typeof part === 'string' ? Buffer.from(part, 'latin1') : part,
  );
  return [value.slice(0, 6), base64(secrets.concat(parts), secrets)];
}

/** The segments with `material` for each `text` in the agent's own ones. */
function replaced(segments: readonly Segment[], text: string, material: Buffer): Segment[] {
  return segments.flatMap((segment): Segment[] => {
    if (typeof segment !== 'string' || !segment.includes(text)) return [segment];
    return segment.split(text).flatMap((part, i) => (i === 0 ? [part] : [material, part]));
  });
}

/** A compressed body cannot be looked through. */
function checkCoding({ keys, values }: Fields): Refusal | undefined {
  const coded = keys.some((key, i) => key === 'content-encoding' && values[i]!.toLowerCase() !== 'identity');
  if (!coded) return undefined;
  return refuse(
    'MalformedRequest',
    'The placeholder is replaced in the body of this request, so the body must come without Content-Encoding.',
  );
}
