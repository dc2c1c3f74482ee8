// verify_bundle.cjs BUNDLE PUBLIC_KEY: what sigstore's own JavaScript says of a bundle by key, without a log. Prints the
// payload's predicate type, or fails.
const fs = require('fs');
const crypto = require('crypto');
const { bundleFromJSON } = require('@sigstore/bundle');
const { Verifier, toSignedEntity, toTrustMaterial } = require('@sigstore/verify');
const { TrustedRoot } = require('@sigstore/protobuf-specs');

const bundle = bundleFromJSON(JSON.parse(fs.readFileSync(process.argv[2], 'utf8')));
const key = crypto.createPublicKey(fs.readFileSync(process.argv[3]));
const hint = crypto.createHash('sha256').update(key.export({ type: 'spki', format: 'der' })).digest('base64');
const keys = (asked) => {
  if (asked !== hint) throw new Error('another key: ' + asked);
  return { publicKey: key, validFor: () => true };
};
const nothing = TrustedRoot.fromJSON({ tlogs: [], certificateAuthorities: [], timestampAuthorities: [], ctlogs: [] });
const options = { tlogThreshold: 0, ctlogThreshold: 0, timestampThreshold: 0 };
new Verifier(toTrustMaterial(nothing, keys), options).verify(toSignedEntity(bundle));
const statement = JSON.parse(bundle.content.dsseEnvelope.payload.toString('utf8'));
console.log(statement.predicateType);
