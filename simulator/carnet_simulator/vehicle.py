"""The simulated car: a plug-in hybrid whose readings belong together, because they come from one set of physics.

Law: a seed decides everything. Time is counted in steps, randomness is handed in, nothing is read from the machine.
"""

from __future__ import annotations

import math
from random import Random
from typing import Final

from carnet_simulator import track
from carnet_simulator.driver import KMH, Driver, Intent, Phase

STEP_MS: Final = 20
STEP_S: Final = STEP_MS / 1000
"""Length of a step."""

MASS_KG: Final = 1650.0
GRAVITY: Final = 9.81
ROLLING: Final = 0.011
"""Rolling resistance per newton of weight."""
DRAG: Final = 0.42
"""Half of air density x drag coefficient x front area, in kg/m."""
JERK: Final = 6.0
"""m/s^3 by which acceleration may change."""
BATTERY_KWH: Final = 14.0
REGENERATION_W_MAX: Final = 60_000.0
CHARGER_W: Final = 7_400.0
TANK_L: Final = 45.0
LITRES_PER_JOULE: Final = 1 / (34.2e6 * 0.34)
"""Petrol per useful joule at 34 % efficiency."""
GEAR_KMH_PER_1000RPM: Final = (8.0, 14.0, 21.0, 29.0, 38.0, 48.0)
IDLE_RPM: Final = 900.0
MOTOR_RPM_PER_KMH: Final = 75.0
TRACK_WIDTH_M: Final = 1.55
PARK, DRIVE = 126, 127
"""Codes of the specification's gear signals."""
POWER_LOCK, POWER_ON = 1, 4
AMBIENT_CELSIUS: Final = 24.0

_VIN_WEIGHTS: Final = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)
_VIN_VALUES: Final = dict(
    zip("ABCDEFGHJKLMNPRSTUVWXYZ", (*range(1, 9), *range(1, 6), 7, 9, *range(2, 10)), strict=True)
)


def make_vin(random: Random) -> str:
    """A vehicle identification number that belongs to no car, with a valid check digit."""
    plain = f"CARNETSM0X0{random.randrange(1_000_000):06d}"
    values = (int(sign) if sign.isdigit() else _VIN_VALUES[sign] for sign in plain)
    check = sum(weight * value for weight, value in zip(_VIN_WEIGHTS, values, strict=True)) % 11
    return f"{plain[:8]}{'X' if check == 10 else check}{plain[9:]}"


def _towards(value: float, target: float, seconds: float) -> float:
    """One step of settling with this time constant."""
    return value + (target - value) * STEP_S / seconds


class Vehicle:
    """A car and its driver; ``step`` moves both by `STEP_MS`."""

    def __init__(self, random: Random, start_unix_ms: int) -> None:
        self._random = random
        self._start_unix_ms = start_unix_ms
        self._driver = Driver(random)
        self.vin = make_vin(random)
        self._identity = {
            f"VinCharacters{part}": float(int.from_bytes(self.vin[6 * part - 6 : 6 * part].encode("ascii"), "big"))
            for part in (1, 2, 3)
        }
        self._steps = 0
        self._speed = 0.0
        self._acceleration = 0.0
        self._distance_m = random.uniform(0, track.STRAIGHT_M / 2)
        self._odometer_m = float(random.randrange(20_000_000, 90_000_000))
        self._trip_m = 0.0
        self._gear = 1
        self._engine_on = False
        self._engine_since_s = 0.0
        self._engine_rpm = 0.0
        self._charge = random.uniform(0.45, 0.8)
        self._fuel_l = random.uniform(15, 40)
        self._used_l = 0.0
        self._supply_volt = 12.6
        self._coolant = self._oil = self._motor = self._motor_coolant = self._inverter = AMBIENT_CELSIUS
        self._gearbox = self._cells = self._cabin = self._tyre = AMBIENT_CELSIUS
        self._pads = [random.uniform(20, 60) for _ in range(4)]
        self._cold_kpa = [242.0, 238.0, 240.0, 205.0]
        self._service_km = random.randrange(500, 9000)
        self._east_error = self._north_error = 0.0

    def step(self) -> dict[str, float]:
        """Move on by one step and read every signal: name in our DBCs -> physical value."""
        self._steps += 1
        intent = self._driver.step(STEP_S, self._speed)
        self._move(intent)
        wheel_w, brake_w = self._power()
        self._engine(intent, wheel_w)
        electric_w = self._energy(intent, wheel_w)
        self._temperatures(electric_w)
        self._wear(brake_w)
        return {
            **self._driving(intent, wheel_w),
            **self._energies(intent, electric_w),
            **self._maintenance(),
            **self._location(),
            **self._body(intent),
            **self._identity,
        }

    def _move(self, intent: Intent) -> None:
        wanted = min(max((intent.speed - self._speed) * 0.6, -intent.braking_max), intent.acceleration_max)
        # Somebody who stops keeps the foot on the brake until the car stands.
        if intent.speed == 0 and self._speed > 0:
            wanted = min(wanted, -0.6)
        change = min(max(wanted - self._acceleration, -JERK * STEP_S), JERK * STEP_S)
        self._acceleration += change
        before = self._speed
        self._speed = max(0.0, self._speed + self._acceleration * STEP_S)
        if self._speed == 0.0 and self._acceleration < 0:
            self._acceleration = 0.0
        moved = (before + self._speed) / 2 * STEP_S
        self._distance_m += moved
        self._odometer_m += moved
        self._trip_m += moved

    def _power(self) -> tuple[float, float]:
        """Watts at the wheels: driving (negative: the motor brakes), and turned into heat by the brakes."""
        speed = self._speed
        force = MASS_KG * self._acceleration + DRAG * speed * speed
        if speed > 0:
            force += MASS_KG * GRAVITY * ROLLING
        watt = force * speed
        return max(watt, -REGENERATION_W_MAX), max(0.0, -watt - REGENERATION_W_MAX) + (500.0 if watt < -20_000 else 0.0)

    def _engine(self, intent: Intent, wheel_w: float) -> None:
        kmh = self._speed / KMH
        self._engine_since_s += STEP_S
        wanted = intent.phase is Phase.DRIVING and (kmh > 65 or wheel_w > 45_000 or self._charge < 0.2)
        if wanted != self._engine_on and self._engine_since_s > 3:
            self._engine_on, self._engine_since_s = wanted, 0.0
        rpm = kmh / GEAR_KMH_PER_1000RPM[self._gear - 1] * 1000
        if rpm > 2800 and self._gear < len(GEAR_KMH_PER_1000RPM):
            self._gear += 1
        elif rpm < 1300 and self._gear > 1:
            self._gear -= 1
        rpm = kmh / GEAR_KMH_PER_1000RPM[self._gear - 1] * 1000
        self._engine_rpm = _towards(self._engine_rpm, max(IDLE_RPM, rpm) if self._engine_on else 0.0, 0.15)

    def _energy(self, intent: Intent, wheel_w: float) -> float:
        """Battery and fuel; returns the watts that the battery gives (negative: takes)."""
        engine_w = max(0.0, wheel_w) * 0.7 if self._engine_on else 0.0
        self._used_l += (engine_w + (1_500 if self._engine_on else 0)) * STEP_S * LITRES_PER_JOULE
        motor_w = wheel_w - engine_w
        electric_w = motor_w / 0.9 if motor_w > 0 else motor_w * 0.85
        if intent.phase is Phase.CHARGING:
            electric_w = -CHARGER_W if self._charge < 0.95 else 0.0
        elif intent.phase is not Phase.PARKED:
            electric_w += 450
        self._charge = min(max(self._charge - electric_w * STEP_S / (BATTERY_KWH * 3.6e6), 0.02), 1.0)
        self._supply_volt = _towards(self._supply_volt, 12.5 if intent.phase is Phase.PARKED else 14.3, 0.8)
        return electric_w

    def _temperatures(self, electric_w: float) -> None:
        load = abs(electric_w) / 50_000
        self._coolant = _towards(
            self._coolant, 90.0 if self._engine_on else 55.0 if self._used_l else AMBIENT_CELSIUS, 180
        )
        self._oil = _towards(self._oil, self._coolant + 6, 120)
        self._motor = _towards(self._motor, AMBIENT_CELSIUS + 12 + 60 * load, 90)
        self._motor_coolant = _towards(self._motor_coolant, (self._motor + AMBIENT_CELSIUS) / 2, 60)
        self._inverter = _towards(self._inverter, AMBIENT_CELSIUS + 8 + 45 * load, 30)
        self._gearbox = _towards(self._gearbox, AMBIENT_CELSIUS + self._speed, 200)
        self._cells = _towards(self._cells, AMBIENT_CELSIUS + 3 + 12 * load, 300)
        self._cabin = _towards(self._cabin, 21.5, 120)
        self._tyre = _towards(self._tyre, AMBIENT_CELSIUS + self._speed * 0.8, 240)

    def _wear(self, brake_w: float) -> None:
        for wheel, share in enumerate((0.3, 0.3, 0.2, 0.2)):
            self._pads[wheel] = min(100.0, self._pads[wheel] + brake_w * share * STEP_S * 2e-8)

    def _driving(self, intent: Intent, wheel_w: float) -> dict[str, float]:
        noise = self._random.gauss
        kmh = self._speed / KMH
        curvature = track.place(self._distance_m).curvature_per_m
        inner, outer = (1 - curvature * TRACK_WIDTH_M / 2) * kmh, (1 + curvature * TRACK_WIDTH_M / 2) * kmh
        standing = self._speed == 0
        engine_w = max(0.0, wheel_w) * 0.7 if self._engine_on else 0.0
        motor_rpm = kmh * MOTOR_RPM_PER_KMH
        engine_torque = engine_w / (self._engine_rpm * 2 * math.pi / 60) if self._engine_rpm > IDLE_RPM / 2 else 0.0
        parked = intent.phase in (Phase.PARKED, Phase.CHARGING)
        accelerator = min(100.0, max(0.0, wheel_w) / 900 + 20 * max(0.0, self._acceleration)) if intent.speed else 0.0
        braking = -self._acceleration if self._acceleration < -0.4 else 0.0
        return {
            "MotorSpeed": motor_rpm,
            "MotorTorque": (wheel_w - engine_w) / (motor_rpm * 2 * math.pi / 60) if motor_rpm > 50 else 0.0,
            "MotorPower": (wheel_w - engine_w) / 1000,
            "AcceleratorPedal": accelerator,
            "EngineSpeed": self._engine_rpm if self._engine_on else 0.0,
            "EngineTorque": engine_torque,
            "EngineRunning": float(self._engine_on),
            "ThrottlePosition": min(100.0, engine_w / 500),
            "WheelSpeedFrontLeft": 0.0 if standing else max(0.0, inner + noise(0, 0.03)),
            "WheelSpeedFrontRight": 0.0 if standing else max(0.0, outer + noise(0, 0.03)),
            "WheelSpeedRearLeft": 0.0 if standing else max(0.0, inner + noise(0, 0.03)),
            "WheelSpeedRearRight": 0.0 if standing else max(0.0, outer + noise(0, 0.03)),
            "VehicleSpeed": kmh,
            "LongitudinalAcceleration": self._acceleration + noise(0, 0.02),
            "LateralAcceleration": self._speed * self._speed * curvature + noise(0, 0.02),
            "YawRate": math.degrees(self._speed * curvature) + (0.0 if standing else noise(0, 0.05)),
            "CurrentGear": float(PARK if parked else 0 if standing else self._gear),
            "SelectedGear": float(PARK if parked else DRIVE),
            "SteeringWheelAngle": math.degrees(math.atan(2.7 * curvature)) * 15 + (0.0 if standing else noise(0, 0.3)),
            "BrakePedal": 25.0 if standing and not parked else min(100.0, braking * 12),
            "ParkingBrake": float(parked),
            "EmergencyBraking": float(braking > 6),
        }

    def _energies(self, intent: Intent, electric_w: float) -> dict[str, float]:
        volt = 320 + 40 * self._charge - electric_w * 2e-4
        charging = intent.phase is Phase.CHARGING and electric_w < 0
        cell = volt / 96
        battery_m = self._charge * 52_000
        readings = {
            "StateOfCharge": self._charge * 100,
            "BatteryCurrent": -electric_w / volt,
            "BatteryVoltage": volt,
            "BatteryPower": -electric_w,
            "StateOfHealth": 94.5,
            "CellVoltageMin": cell - 0.012,
            "CellVoltageMax": cell + 0.009,
            "FuelLevel": (self._fuel_l - self._used_l) / TANK_L * 100,
            "TotalRange": battery_m + (self._fuel_l - self._used_l) * 17_000,
            "AverageConsumption": self._used_l / self._trip_m * 100_000 if self._trip_m > 500 else 0.0,
            "CableConnected": float(intent.phase is Phase.CHARGING),
            "IsCharging": float(charging),
            "ChargingPower": CHARGER_W / 1000 if charging else 0.0,
            "TimeToComplete": (0.95 - self._charge) * BATTERY_KWH * 3.6e6 / CHARGER_W if charging else 0.0,
            "BatteryRange": battery_m,
            "PowerState": float(POWER_LOCK if intent.phase in (Phase.PARKED, Phase.CHARGING) else POWER_ON),
            "SupplyVoltage": self._supply_volt + self._random.gauss(0, 0.01),
            "SupplyCurrent": 2.0 if intent.phase is Phase.PARKED else -6.0,
        }
        for module in range(3):
            readings[f"Module{module}Voltage"] = volt / 8 + 0.01 * module
            readings[f"Module{module}Temperature"] = self._cells + 0.5 * module
        return readings

    def _maintenance(self) -> dict[str, float]:
        service_km = self._service_km - self._trip_m / 1000
        readings = {
            "GearboxTemperature": self._gearbox,
            "EngineCoolantTemperature": self._coolant,
            "EngineOilTemperature": self._oil,
            "MotorTemperature": self._motor,
            "MotorCoolantTemperature": self._motor_coolant,
            "InverterTemperature": self._inverter,
            "TemperatureMin": self._cells - 1,
            "TemperatureMax": self._cells + 2,
            "TemperatureAverage": self._cells,
            "TraveledDistance": self._odometer_m,
            "TripDistance": self._trip_m,
            # The soft tyre's controller has noticed it by then.
            "TroubleCodeCount": 1.0 if self._trip_m > 800 else 0.0,
            "ServiceDue": float(service_km < 1000),
            "DistanceToService": service_km,
        }
        for wheel, name in enumerate(("FrontLeft", "FrontRight", "RearLeft", "RearRight")):
            readings[f"PadWear{name}"] = self._pads[wheel]
            readings[f"{name}Pressure"] = self._cold_kpa[wheel] * (self._tyre + 273) / (AMBIENT_CELSIUS + 273)
            readings[f"{name}Temperature"] = self._tyre
        return readings

    def _location(self) -> dict[str, float]:
        place = track.place(self._distance_m)
        self._east_error = _towards(self._east_error, 0.0, 20) + self._random.gauss(0, 0.02)
        self._north_error = _towards(self._north_error, 0.0, 20) + self._random.gauss(0, 0.02)
        latitude, longitude = track.coordinates(place.east_m + self._east_error, place.north_m + self._north_error)
        return {
            "Latitude": latitude,
            "Longitude": longitude,
            "Heading": place.heading_degrees,
            "Altitude": track.ALTITUDE_M + self._north_error,
            "HorizontalAccuracy": 1.2,
            "FixType": 5.0,
            "Satellites": 14.0,
            "UnixTime": float(self._start_unix_ms + self._steps * STEP_MS),
            "TimeValid": 1.0,
        }

    def _body(self, intent: Intent) -> dict[str, float]:
        blink = self._steps * STEP_MS % 700 < 350
        leaving = intent.phase is Phase.READY
        return {
            "DriverDoorOpen": float(intent.door_open),
            "PassengerDoorOpen": 0.0,
            "RearLeftDoorOpen": 0.0,
            "RearRightDoorOpen": 0.0,
            "TrunkOpen": 0.0,
            "HoodOpen": 0.0,
            "DriverDoorLocked": float(self._speed > 4),
            "DriverBelted": float(intent.belted),
            "PassengerBelted": 0.0,
            "DriverOccupancy": 1.0 if intent.belted else 2.0,
            "PassengerOccupancy": 2.0,
            "CabinTemperature": self._cabin,
            "DriverSetTemperature": 21.5,
            "AirConditioningActive": float(intent.belted),
            "LowBeamOn": float(intent.belted),
            "HighBeamOn": 0.0,
            "LeftIndicator": float(leaving and blink),
            "RightIndicator": 0.0,
            "HazardLights": float(intent.braking_max > 5 and self._acceleration < -6 and blink),
            "BrakeLights": float(self._acceleration < -0.4 or (self._speed == 0 and intent.belted)),
            "WiperMode": 0.0,
            "AirTemperature": AMBIENT_CELSIUS,
            "Humidity": 31.5,
            "LightIntensity": 82.0 + self._random.gauss(0, 0.5),
        }
