import { createPrivateKey, X509Certificate } from 'node:crypto';
import { errorText } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import type { CaKeeper, CaPair } from '../listen/interceptCa.ts';
import type { PrivateFiles } from './privateFiles.ts';

const FILE = 'intercept-ca.pem';
/** A CA that ends sooner is replaced: the agent container is as old, and is restarted before. */
const LEFT_MS = 24 * 3_600_000;

/** Keeps the interception CA over a restart of the sidecar's container: what runs beside it has read the bundle once. */
export class KeptCa implements CaKeeper {
  readonly #files: PrivateFiles;
  readonly #log: Logger;

  constructor(files: PrivateFiles, log: Logger) {
    this.#files = files;
    this.#log = log;
  }

  load(nowMs: number): CaPair | undefined {
    let bytes: Buffer | undefined;
    try {
      bytes = this.#files.read(FILE);
      return bytes && checkedPair(bytes, nowMs);
    } catch (error) {
      this.#log.warn(
        { file: this.#files.path(FILE), error: errorText(error) },
        'the CA that was kept is not usable; a new one is made, and agents that run have to be restarted to trust it',
      );
      return undefined;
    } finally {
      bytes?.fill(0);
    }
  }

  /** @throws the system's error */
  save({ certificate, privateKey }: CaPair): void {
    const key = Buffer.from(privateKey.export({ type: 'pkcs8', format: 'pem' }));
    const bytes = Buffer.concat([Buffer.from(certificate.toString()), key]);
    try {
      this.#files.write(FILE, bytes);
    } finally {
      key.fill(0);
      bytes.fill(0);
    }
  }
}

/** @throws Error that says what is wrong, without any of the bytes */
function checkedPair(pem: Buffer, nowMs: number): CaPair {
  let pair: CaPair;
  try {
    pair = { certificate: new X509Certificate(pem), privateKey: createPrivateKey(pem) };
  } catch {
    throw new Error('it does not hold a certificate and its key');
  }
  const { certificate, privateKey } = pair;
  if (privateKey.asymmetricKeyDetails?.namedCurve !== 'prime256v1' || !certificate.checkPrivateKey(privateKey))
    throw new Error('the key is not the one of the certificate');
  if (!certificate.ca || !certificate.verify(certificate.publicKey)) throw new Error('the certificate is no root');
  if (nowMs < certificate.validFromDate.getTime() || nowMs > certificate.validToDate.getTime() - LEFT_MS)
    throw new Error('the certificate is not valid now');
  return pair;
}
