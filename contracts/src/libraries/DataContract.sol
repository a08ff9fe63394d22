// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title Bytes kept as contract code
/// @notice It costs 200 gas a byte to write and one cold account to read, where storage costs 690
/// and 66 gas a byte. The idea is that of SSTORE2 (Agustin Aguilar). A leading STOP keeps the code
/// from being run.
library DataContract {
    error TooLong(uint256 got, uint256 limit);
    error WriteFailed();

    /// @dev EIP-170 allows 24,576 bytes of code, of which one is the STOP.
    uint256 internal constant MAX_LENGTH = 24_575;

    function write(bytes memory data) internal returns (address target) {
        if (data.length > MAX_LENGTH) revert TooLong(data.length, MAX_LENGTH);
        // PUSH2 codeLength, DUP1, PUSH1 10, PUSH0, CODECOPY, PUSH0, RETURN. This returns the bytes
        // after these 10.
        bytes2 codeLength = bytes2(uint16(data.length + 1));
        bytes memory initCode = bytes.concat(hex"61", codeLength, hex"80600a5f395ff3", hex"00", data);
        assembly ("memory-safe") {
            target := create(0, add(initCode, 0x20), mload(initCode))
        }
        if (target == address(0)) revert WriteFailed();
    }

    function read(address target) internal view returns (bytes memory data) {
        data = new bytes(target.code.length - 1);
        readTo(data, 0, target, 0, data.length);
    }

    /// @notice Copies contents[from .. from + length] to data[to .. to + length]. The caller must
    /// keep both bounds.
    function readTo(bytes memory data, uint256 to, address target, uint256 from, uint256 length) internal view {
        assembly ("memory-safe") {
            extcodecopy(target, add(add(data, 0x20), to), add(from, 1), length)
        }
    }
}
