import type { Placement as PlacementSpec } from '../../api/integration.ts';
import { echoForms } from './echoForms.ts';
import { percentEncoded } from './percentEncoding.ts';
import type { Placement } from './placement.ts';
import { secretField } from './secretField.ts';

/** A parameter of the query; the agent's own of this name is dropped. */
export function query(spec: NonNullable<PlacementSpec['query']>): Placement {
  const { name, field } = spec;
  const before = Buffer.from(`${name}=`);
  return {
    prepare(material, secrets) {
      const secret = secretField(material, field);
      if ('kind' in secret) return secret;
      const parameter = secrets.concat([before, percentEncoded(secret, secrets)]);
      return {
        needles: echoForms(secret, secrets),
        place(draft) {
          // `OPTIONS *` has no query (RFC 9112 section 3.2.4).
          if (draft.request.path === '*') return undefined;
          // Placeholders come last, so it is still the agent's text.
          draft.query = draft.query.map((text) => (typeof text === 'string' ? withoutParameter(text, name) : text));
          draft.parameters.push(parameter);
          return undefined;
        },
      };
    },
  };
}

/**
 * The query without every parameter that some reader could take for `name`: whatever its encoding, case and separator, and
 * as an element of an array (`name[]`), which PHP, Rails and qs join with what is placed.
 */
function withoutParameter(query: string, name: string): string {
  if (query.length < 2) return '';
  const wanted = name.toLowerCase();
  const kept = query.slice(1).match(/[^&;]+/g) ?? [];
  if (!kept.some((parameter) => nameOf(parameter) === wanted)) return query;
  // Parameters with their separators in front, so that those of the others stay as the agent wrote them.
  const parameters = query.slice(1).match(/(^|[&;])[^&;]*/g) ?? [];
  const rest = parameters.filter((parameter) => nameOf(parameter.replace(/^[&;]/, '')) !== wanted).join('');
  return rest === '' ? '' : `?${rest.replace(/^[&;]/, '')}`;
}

function nameOf(parameter: string): string {
  const equals = parameter.indexOf('=');
  const name = equals === -1 ? parameter : parameter.slice(0, equals);
  return name
    .replaceAll('+', ' ')
    .replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
    .replace(/[\0[].*/s, '')
    .trim()
    .toLowerCase();
}
