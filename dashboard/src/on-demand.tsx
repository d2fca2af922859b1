import type { ComponentType } from "preact";
import { useAsked } from "./asked";
import { Loaded } from "./ui/loaded";

/** A view whose code is fetched when it is first shown. */
export function onDemand(what: string, load: () => Promise<ComponentType>): ComponentType {
  let View: ComponentType | undefined;
  const loadOnce = async () => (View ??= await load());
  return function OnDemand() {
    const asked = useAsked(loadOnce);
    if (View) return <View />;
    return (
      <Loaded asked={asked} what={what} lines={6}>
        {() => null}
      </Loaded>
    );
  };
}
