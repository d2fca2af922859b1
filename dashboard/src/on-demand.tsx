import type { ComponentType } from "preact";
import { useCallback, useEffect, useState } from "preact/hooks";
import { Empty, Skeleton } from "./ui/parts";

/** A view whose code is fetched when it is first shown. */
export function onDemand(label: string, load: () => Promise<ComponentType>): ComponentType {
  let loaded: ComponentType | undefined;
  return function OnDemand() {
    const [, setTurn] = useState(0);
    const [failed, setFailed] = useState(false);
    const fetchIt = useCallback(() => {
      setFailed(false);
      load().then(
        (component) => {
          loaded = component;
          setTurn((turn) => turn + 1);
        },
        () => setFailed(true),
      );
    }, []);
    useEffect(() => {
      if (!loaded) fetchIt();
    }, [fetchIt]);
    const Loaded = loaded;
    if (Loaded) return <Loaded />;
    if (!failed) return <Skeleton label={label} lines={6} />;
    return (
      <Empty title="This part of the page could not be loaded.">
        <p>Perhaps the connection is gone, or a newer version is there: then reload the page.</p>
        <button type="button" onClick={fetchIt}>
          Try again
        </button>
      </Empty>
    );
  };
}
