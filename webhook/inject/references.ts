import { SIDECAR_PORTS } from '../../api/pods.ts';
import type { NamespaceObjects } from './settings.ts';

const REFERENCE =
  /\$\{(?:credentials\.(?<credential>[A-Za-z0-9_-]+)|integrations\.(?<integration>[A-Za-z0-9_-]+)\.url)\}/g;

/** Where base URLs begin. */
export const PROXY_URL = `http://127.0.0.1:${SIDECAR_PORTS.proxy}`;

/**
 * Puts placeholders for `${credentials.x}` and base URLs for `${integrations.x.url}`; `_` stands for `-`, which names of variables cannot
 * have. What is not known stays as it is: `unknown` is told why.
 */
export function resolveReferences(value: string, objects: NamespaceObjects, unknown: (why: string) => void): string {
  if (!value.includes('${')) return value;
  return value.replace(REFERENCE, (whole: string, ...rest: unknown[]) => {
    const { credential, integration } = rest.at(-1) as { credential?: string; integration?: string };
    const name = folded(credential ?? integration ?? '');
    if (credential !== undefined) {
      const known = objects.credentials.get(name);
      if (known === undefined) unknown(`${whole} (there is no Credential ${name} here yet)`);
      return known?.placeholder ?? whole;
    }
    const known = objects.integrations.get(name);
    if (known === undefined) unknown(`${whole} (there is no Integration ${name} here yet)`);
    else if (known.alias === undefined) unknown(`${whole} (Integration ${name} has no alias)`);
    return known?.alias === undefined ? whole : `${PROXY_URL}/${known.alias}`;
  });
}

function folded(name: string): string {
  return name.toLowerCase().replaceAll('_', '-');
}
