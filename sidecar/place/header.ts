import { DEFAULT_FIELD } from '../../api/fields.ts';
import type { Placement as PlacementSpec } from '../../api/integration.ts';
import { echoForms } from './echoForms.ts';
import type { Placement } from './placement.ts';
import { headerField } from './secretField.ts';

const CRLF = Buffer.from('\r\n');

/** A header of any name whose value is a template: `{value}` stands for the chosen field, `{<field>}` for any other. */
export function header(spec: NonNullable<PlacementSpec['header']>): Placement {
  const { name, format = '{value}', field = DEFAULT_FIELD } = spec;
  // A capture group makes split give texts and names in turn. The texts become bytes now, so that material never joins a string.
  const parts = `${name}: ${format}`
    .split(/\{([A-Za-z0-9][\w.-]*)\}/)
    .map((part, i) => (i % 2 === 0 ? Buffer.from(part, 'latin1') : part === DEFAULT_FIELD ? field : part));
  return {
    prepare(material, secrets) {
      const bytes: Buffer[] = [];
      const needles: Buffer[] = [];
      for (const part of parts) {
        if (typeof part !== 'string') {
          bytes.push(part);
          continue;
        }
        const secret = headerField(material, part);
        if ('kind' in secret) return secret;
        bytes.push(secret);
        needles.push(...echoForms(secret, secrets));
      }
      return { line: { key: name.toLowerCase(), bytes: secrets.concat([...bytes, CRLF]) }, needles };
    },
  };
}
