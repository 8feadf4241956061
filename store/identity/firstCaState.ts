import { createPrivateKey, X509Certificate } from 'node:crypto';
import type { Clock } from '../../lib/clock.ts';
import { generateP256, toPem } from '../../lib/x509.ts';
import type { Repository } from '../persist/repository.ts';
import { ownKey } from '../vault/ownKey.ts';
import type { Vault } from '../vault/vault.ts';
import { makeIntermediate, rootCertificatePem } from './caMaking.ts';
import { CA_STATE, type CaRoot, type CaState, damaged, issuerKeyName } from './caState.ts';

const ROOT_KEY = 'ca key';
const ROOT_NAME = 'Sidekey store CA';
/** Where the first version of the store kept the certificate of its only CA, which issued everything itself. */
const FORMER_CERTIFICATE = 'ca certificate';

/** Makes root and intermediate of a new store, or the intermediate below the CA of an older version. Of several replicas the first one wins. */
export async function firstCaState(options: {
  repository: Repository;
  vault: Vault;
  clock: Clock;
  intermediateSeconds: number;
}): Promise<Buffer> {
  const { repository, vault, clock, intermediateSeconds } = options;
  const der = await ownKey(repository, vault, ROOT_KEY, () =>
    generateP256().privateKey.export({ type: 'pkcs8', format: 'der' }),
  );
  const rootKey = createPrivateKey({ key: der, type: 'pkcs8', format: 'der' });
  der.fill(0);
  const nowMs = clock.nowMs();
  const former = await repository.transaction((tx) => tx.meta.get(FORMER_CERTIFICATE));
  const certificatePem = former === undefined ? rootCertificatePem(ROOT_NAME, rootKey, nowMs) : toPem(former);
  const certificate = new X509Certificate(certificatePem);
  if (!certificate.checkPrivateKey(rootKey)) throw damaged('the CA');
  const root: CaRoot = {
    id: certificate.serialNumber.slice(0, 8),
    certificatePem,
    createdAtMs: former === undefined ? nowMs : certificate.validFromDate.getTime(),
    keyName: ROOT_KEY,
  };
  const { intermediate, keyDer } = makeIntermediate({ root, rootKey, nowMs, seconds: intermediateSeconds });
  const sealed = await vault.sealOwn(issuerKeyName(intermediate), keyDer);
  keyDer.fill(0);
  const state = Buffer.from(JSON.stringify({ roots: [root], intermediates: [intermediate] } satisfies CaState));
  return repository.transaction(async (tx) => {
    const found = await tx.meta.get(CA_STATE);
    if (found !== undefined) return found;
    await tx.meta.set(issuerKeyName(intermediate), sealed);
    await tx.meta.set(CA_STATE, state);
    await tx.meta.delete(FORMER_CERTIFICATE);
    return state;
  });
}
